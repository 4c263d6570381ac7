//! The store, kept in SQLite and in PostgreSQL: one contract for both, faults, and what each has of its own.

#[path = "store/bad_input.rs"]
mod bad_input;
mod common;
#[path = "store/contract.rs"]
mod contract;
#[path = "store/kinds.rs"]
mod kinds;
#[path = "store/network.rs"]
mod network;
#[path = "store/opening.rs"]
mod opening;
#[path = "store/outage.rs"]
mod outage;
#[path = "store/place.rs"]
mod place;
#[path = "store/series.rs"]
mod series;
#[path = "store/sharing.rs"]
mod sharing;

use place::Place;

/// Each function of the contract, with the module that it lies in, as a test of each kind of store.
macro_rules! contract {
    ($($module:ident::$name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Place::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$module::$name(&super::Place::postgres().await).await;
            })*
        }
    };
}

contract!(
    contract::a_trace_sent_in_shares_is_one_trace_also_after_a_restart,
    contract::the_same_span_twice_is_stored_once_and_another_under_its_id_is_kept,
    contract::lists_filter_sort_and_page,
    contract::a_correlation_is_closed_over_links_in_both_directions,
    contract::sealed_runs_answer_like_the_tail_and_old_ones_go,
    contract::a_broken_block_is_named_and_the_rest_stays_readable,
    contract::a_check_reads_all_and_names_what_is_broken,
    contract::a_lock_turns_senders_away_in_time_and_nothing_is_lost,
    contract::a_store_of_another_version_is_named_and_left_alone,
    bad_input::ten_thousand_services_are_each_found,
    bad_input::spans_of_another_time_are_found_where_the_rules_put_them,
    bad_input::a_trace_of_a_hundred_thousand_spans_is_one_trace,
    series::samples_are_read_at_once_after_a_restart_and_after_a_seal,
    series::a_metrics_request_sent_again_changes_nothing,
    series::old_samples_are_thinned_by_their_age_and_go_at_last,
    series::metrics_alone_are_sealed_before_memory_grows,
    series::series_beyond_the_limit_are_left_out_and_said,
    kinds::logs_go_before_traces_and_traces_stay_whole,
    kinds::traces_go_before_logs_and_logs_stay_whole,
);
