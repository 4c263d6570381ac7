//! The store, kept in SQLite and in PostgreSQL: one contract for both, faults, and what each has of its own.

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

mod audit;
mod bad_input;
mod compact;
mod contract;
mod copy;
mod damage;
mod damaged_file;
mod durability;
mod full_disk;
mod kept;
mod kinds;
mod logs;
mod messages;
mod network;
mod opening;
mod outage;
mod place;
mod series;
mod sharing;
mod two_processes;

use place::Place;

/// Each function of the contract, with the module that it lies in, as a test of each kind of store.
macro_rules! contract {
    ($($room:ident { $($name:ident),* $(,)? })*) => {
        mod sqlite {
            $($(#[tokio::test]
            async fn $name() {
                super::$room::$name(&super::Place::sqlite().await).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test]
            async fn $name() {
                super::$room::$name(&super::Place::postgres().await).await;
            })*)*
        }
    };
}

contract! {
    contract {
        a_trace_sent_in_shares_is_one_trace_also_after_a_restart,
        the_same_span_twice_is_stored_once_and_another_under_its_id_is_kept,
        lists_filter_sort_and_page,
        a_correlation_is_closed_over_links_in_both_directions,
        sealed_runs_answer_like_the_tail_and_old_ones_go,
        a_broken_block_is_named_and_the_rest_stays_readable,
        a_check_reads_all_and_names_what_is_broken,
        a_lock_turns_senders_away_in_time_and_nothing_is_lost,
        a_store_of_another_version_is_named_and_left_alone,
    }
    logs {
        logs_are_found_by_everything_in_the_tail_and_in_runs,
        a_log_that_says_nothing_of_itself_is_found_all_the_same,
        pages_go_on_among_equal_times_while_the_tail_is_sealed,
        late_logs_of_an_old_trace_are_found_by_it,
        a_search_that_ends_before_its_range_says_so_and_goes_on,
        logs_of_a_broken_block_are_counted_and_the_rest_stays_readable,
        logs_go_with_their_run,
    }
    messages {
        messages_and_logs_do_not_hide_each_other,
    }
    damage {
        damaged_pages_of_an_index_cost_nothing_that_is_known_elsewhere,
        a_damaged_chunk_of_an_index_costs_its_own_traces_alone,
    }
    bad_input {
        ten_thousand_services_are_each_found,
        spans_of_another_time_are_found_where_the_rules_put_them,
        a_trace_of_a_hundred_thousand_spans_is_one_trace,
    }
    series {
        samples_are_read_at_once_after_a_restart_and_after_a_seal,
        the_last_minutes_are_the_same_out_of_memory_and_out_of_chunks,
        a_metrics_request_sent_again_changes_nothing,
        old_samples_are_thinned_by_their_age_and_go_at_last,
        metrics_alone_are_sealed_before_memory_grows,
        series_beyond_the_limit_are_left_out_and_said,
    }
    kept {
        what_is_kept_of_the_past_is_what_a_look_without_it_finds,
    }
    audit {
        deeds_are_written_before_and_their_ends_after_and_all_of_it_stays,
        old_deeds_go_by_their_own_age_and_by_no_size,
    }
    kinds {
        logs_go_before_traces_and_traces_stay_whole,
        traces_go_before_logs_and_logs_stay_whole,
        the_oldest_logs_go_by_their_size_and_traces_stay,
        a_run_of_which_only_logs_are_left_goes_by_their_size,
    }
}
