//! Metrics in OTLP/JSON into protobuf: as far as they are looked at, which is without buckets, quantiles and exemplars.

use super::shape::{Data, DataPoint, Metric, Metrics};
use super::{attributes, put_text, resource, scope};
use crate::dashboard::model::otlp::points::{Layout, layout};
use crate::dashboard::model::proto::{put_fixed64, put_message, put_uint};

/// Converts a request.
pub fn request(out: &mut Vec<u8>, request: &Metrics) {
    for of_resource in &request.resource_metrics {
        put_message(out, 1, |out| {
            put_message(out, 1, |out| resource(out, &of_resource.resource));
            for of_scope in &of_resource.scope_metrics {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| scope(out, &of_scope.scope));
                    for item in &of_scope.metrics {
                        put_message(out, 2, |out| metric(out, item));
                    }
                });
            }
        });
    }
}

fn metric(out: &mut Vec<u8>, metric: &Metric) {
    put_text(out, 1, &metric.name);
    put_text(out, 3, &metric.unit);
    let Metric { gauge, sum, histogram, exponential_histogram, summary, .. } = metric;
    for (field, data) in [(5, gauge), (7, sum), (9, histogram), (10, exponential_histogram), (11, summary)] {
        if let (Some(data), Some((_, layout))) = (data, layout(field)) {
            put_message(out, field, |out| points(out, data, &layout));
        }
    }
}

fn points(out: &mut Vec<u8>, data: &Data, layout: &Layout) {
    put_uint(out, 2, u64::from(data.aggregation_temporality));
    put_uint(out, 3, u64::from(data.is_monotonic));
    for item in &data.data_points {
        put_message(out, 1, |out| point(out, item, layout));
    }
}

fn point(out: &mut Vec<u8>, point: &DataPoint, layout: &Layout) {
    attributes(out, layout.attributes, &point.attributes);
    put_fixed64(out, 2, point.start_time_unix_nano.0);
    put_fixed64(out, 3, point.time_unix_nano.0);
    put_uint(out, layout.flags, u64::from(point.flags));
    if layout.is_number {
        if let Some(number) = &point.as_double {
            put_fixed64(out, 4, number.0.to_bits());
        } else if let Some(number) = &point.as_int {
            put_fixed64(out, 6, number.0 as u64);
        }
        return;
    }
    put_fixed64(out, 4, point.count.0);
    for (field, number) in [(5, &point.sum), (layout.min, &point.min), (layout.max, &point.max)] {
        if let Some(number) = number.as_ref().filter(|_| field != 0) {
            put_fixed64(out, field, number.0.to_bits());
        }
    }
}
