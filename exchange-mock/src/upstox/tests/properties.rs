//! Any request, in any order: an answer, and never a panic.

use nirantar_brokers::upstox::wire;
use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/v2/login/authorization/dialog".to_owned()),
        Just("/v2/login/authorization/token".to_owned()),
        Just("/v3/login/auth/token/request/nirantar".to_owned()),
        "/v3/login/auth/token/request/.{0,8}",
        Just("/v2/logout".to_owned()),
        Just("/v2/user/profile".to_owned()),
        Just("/v2/user/get-funds-and-margin".to_owned()),
        Just("/v2/order/retrieve-all".to_owned()),
        Just("/v2/order/place".to_owned()),
        ".{0,20}",
    ]
}

fn fields() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("grant_type=refresh_token".to_owned()),
        Just("grant_type=authorization_code".to_owned()),
        Just("client_id=nirantar".to_owned()),
        Just("client_secret=nirantar-secret".to_owned()),
        Just("redirect_uri=http%3A%2F%2F127.0.0.1%2F".to_owned()),
        Just("response_type=code".to_owned()),
        Just("decision=approve".to_owned()),
        "(code|refresh_token|state|decision)=.{0,12}",
        ".{0,20}",
    ];
    prop::collection::vec(field, 0..7).prop_map(|fields| fields.join("&"))
}

fn request() -> impl Strategy<Value = Request> {
    let methods = prop::sample::select(vec![Method::Get, Method::Post, Method::Put, Method::Delete]);
    let body = prop_oneof![
        fields(),
        Just(r#"{"client_secret":"nirantar-secret"}"#.to_owned()),
        r#"\{"client_secret":(7|null|"x"|\[\])\}"#,
    ];
    let authorization = prop::option::of(prop_oneof!["Bearer .{0,12}", ".{0,12}"]);
    (methods, path(), fields(), body, authorization).prop_map(|(method, path, query, body, authorization)| Request {
        query: Form::parse(query.as_bytes()),
        body: Secret::new(body),
        authorization: authorization.map(Secret::new),
        ..Request::new(method, path)
    })
}

fn command() -> impl Strategy<Value = String> {
    let name = "(clear|fault|grant|rotate|lose-replies|kill-token|login|user|approve|decline|notifier-url|x)";
    let value = prop_oneof!["(1|0|all|works)", Just("http://h/".to_owned()), Just("token=500@1".to_owned()), ".{0,9}"];
    (name, value).prop_map(|(name, value)| format!("{name}={value}"))
}

proptest! {
    #[test]
    fn any_requests_at_any_times_are_answered_and_counted(
        requests in prop::collection::vec((request(), any::<i64>()), 1..12),
        works: bool,
    ) {
        let grant = if works { Grant::Works } else { Grant::Withdrawn };
        let mut core = UpstoxCore::new(Settings { grant, ..Settings::default() });
        for (request, nanos) in &requests {
            let reply = core.answer(request, Timestamp::from_nanos(*nanos));
            prop_assert!((200..600).contains(&reply.status));
            if reply.status >= 400 {
                prop_assert!(wire::refused(&reply.body).is_some_and(|error| !error.code.is_empty()));
            }
        }
        let counted: u64 = core.log().requests.values().sum();
        prop_assert_eq!(counted + core.log().unrouted, requests.len() as u64);
    }

    #[test]
    fn any_command_is_obeyed_whole_or_not_at_all(
        fields in prop::collection::vec(command(), 0..5),
        nanos in any::<i64>(),
    ) {
        let mut rig = Rig::new(Settings::default());
        let token = rig.login().access_token;
        let obeyed = rig.core.command(&Form::parse(fields.join("&").as_bytes()), Timestamp::from_nanos(nanos));
        if obeyed.is_err() {
            prop_assert_eq!(rig.probe(&token), Ok("NR0001".to_owned()));
        }
    }
}
