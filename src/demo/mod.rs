//! The demo shop: eight services that call and message each other, their load, and their supervisor.
//!
//! It brings the toolkit to life and gives the dashboard something worth looking at, failures included. Each
//! service is a process of its own, as it would be in earnest.
//!
//! ```text
//! load ─REST, GraphQL─▶ gateway ─REST─▶ orders ─gRPC─▶ users
//!                          │               ├─gRPC─▶ inventory
//!                          │               ├─REST, behind a breaker─▶ payments ─REST─▶ bank
//!                          │               └─ exchange `orders` ─▶ payments, inventory, notifications, analytics, orders
//!                          ├─REST─▶ inventory (the catalog)
//!                          └─gRPC─▶ users (the customers of a list)
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`shop`] | the table of services, the exchange and its queues |
//! | [`api`] | what the services ask of each other: bodies of requests and answers |
//! | [`messages`] | what they tell each other: each message's versions, with their schemas |
//! | [`service`] | running one service: telemetry, listening, consuming, ending |
//! | [`services`] | the eight |
//! | [`inventory`] | inventory's gRPC: generated code, client |
//! | `grpc` | serving gRPC |
//! | `faults` | services that fail because a scenario wants it |
//! | `broker` | which broker messages go over |
//! | [`database`] | the services' own state, with outbox and inbox beside it |
//! | [`documents`] | OpenAPI, AsyncAPI and the schemas of requests |
//! | [`scenarios`] | failures that can be switched on |
//! | [`security`] | who may call whom: tokens and certificates |
//! | [`world`] | what lies outside the shop, simulated: mail relay, databases, time |
//! | [`load`] | customers |
//! | [`supervisor`] | starting, watching and ending all of it |
//!
//! What must not live here: anything of the dashboard. The shop knows it as an address to send telemetry to.

pub mod api;
mod broker;
pub mod database;
pub mod documents;
mod faults;
mod grpc;
pub mod inventory;
pub mod load;
pub mod messages;
pub mod scenarios;
pub mod security;
pub mod service;
pub mod services;
pub mod shop;
pub mod supervisor;
pub mod world;
