//! Over a real socket on loopback.
