//! The Upstox guide.
