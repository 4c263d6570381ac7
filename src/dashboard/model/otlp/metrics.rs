//! Metrics are answered and counted; a later part of the dashboard keeps what it needs of them.

use super::super::proto::{WireError, fields};

/// Fields of `Metric` that hold a list of data points in their field 1: gauge, sum, histogram, exponential
/// histogram, summary.
const DATA: [u32; 5] = [5, 7, 9, 10, 11];

/// Counts the data points of an `ExportMetricsServiceRequest`.
pub fn data_points(request: &[u8]) -> Result<u64, WireError> {
    let mut count = 0;
    each(request, 1, &mut |resource| {
        each(resource, 2, &mut |scope| {
            each(scope, 2, &mut |metric| {
                for field in fields(metric) {
                    let field = field?;
                    if DATA.contains(&field.number) {
                        each(field.bytes()?, 1, &mut |_| {
                            count += 1;
                            Ok(())
                        })?;
                    }
                }
                Ok(())
            })
        })
    })?;
    Ok(count)
}

fn each(
    message: &[u8],
    number: u32,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            visit(field.bytes()?)?;
        }
    }
    Ok(())
}
