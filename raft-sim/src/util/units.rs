//! Formats durations, times and shares for people.

/// Formats a duration in microseconds, as `1.2 ms` or `3.25 s`.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0 => "0 s".into(),
        1..1_000_000 => format!("{} ms", thousandths(micros)),
        _ => format!("{} s", thousandths(micros / 1_000)),
    }
}

/// Formats a virtual time in microseconds, as `1.250 s`.
pub(crate) fn moment(micros: u64) -> String {
    let millis = micros / 1_000;
    format!("{}.{:03} s", millis / 1_000, millis % 1_000)
}

/// Formats a share in parts per million, as `12.5 %`.
pub(crate) fn parts_per_million(parts: u32) -> String {
    // One percent is ten thousand parts per million.
    let (whole, fraction) = (parts / 10_000, parts % 10_000);
    format!("{} %", without_zeros(format!("{whole}.{fraction:04}")))
}

/// Formats a share in parts per thousand, as `0.5 %`.
pub(crate) fn per_mille(parts: u32) -> String {
    parts_per_million(parts.saturating_mul(1_000))
}

fn thousandths(number: u64) -> String {
    without_zeros(format!("{}.{:03}", number / 1_000, number % 1_000))
}

fn without_zeros(decimal: String) -> String {
    decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_have_units() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(500), "0.5 ms");
        assert_eq!(duration(15_000), "15 ms");
        assert_eq!(duration(1_191_186), "1.191 s");
        assert_eq!(duration(3_600_000_000), "3600 s");
        assert_eq!(moment(1_191_186), "1.191 s");
        assert_eq!(moment(400_000), "0.400 s");
        assert_eq!(parts_per_million(500_000), "50 %");
        assert_eq!(parts_per_million(1_000), "0.1 %");
        assert_eq!(per_mille(0), "0 %");
        assert_eq!(per_mille(25), "2.5 %");
    }
}
