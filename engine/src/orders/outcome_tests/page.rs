//! The page, the table and the tests say the same.

use crate::orders::RULES;

const PAGE: &str = include_str!("../../../../docs/orders.md");
const TESTS: [&str; 2] = [include_str!("answers.rs"), include_str!("shown.rs")];

#[test]
fn the_policy_page_shows_the_table_row_for_row() {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let on_page: Vec<Vec<String>> =
        PAGE.lines().map(cells).filter(|cells| cells.len() == 5 && cells[0].parse::<u8>().is_ok()).collect();
    let in_code: Vec<Vec<String>> = RULES
        .iter()
        .map(|rule| {
            let (when, number) = (rule.when.to_string(), rule.number.to_string());
            vec![number, when, rule.answer.to_owned(), rule.order.to_owned(), rule.next.to_owned()]
        })
        .collect();
    for (page, code) in on_page.iter().zip(&in_code) {
        assert_eq!(page, code);
    }
    assert_eq!(on_page.len(), in_code.len());
}

#[test]
fn rules_are_numbered_from_one_without_a_gap_and_stay_with_their_occasion() {
    for (rule, number) in RULES.iter().zip(1..) {
        assert_eq!(rule.number, number);
    }
    assert!(RULES.is_sorted_by_key(|rule| rule.when));
}

#[test]
fn every_rule_has_a_test_that_carries_its_number() {
    for rule in RULES {
        let name = format!("fn outcome_{:02}_", rule.number);
        assert!(TESTS.iter().any(|source| source.contains(&name)), "no test begins with `{name}`");
    }
}
