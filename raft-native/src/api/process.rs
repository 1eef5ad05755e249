//! What the process uses, under the names that all Prometheus clients give it.

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::registry::Registry;

use super::metrics::{register, register_counter};

/// What /proc says of this process.
struct Usage {
    resident_bytes: u64,
    virtual_bytes: u64,
    cpu_seconds: f64,
    start_seconds: u64,
    open_fds: u64,
    max_fds: Option<u64>,
}

impl Usage {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks_per_second = procfs::ticks_per_second();
        let max_fds = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(max) => Some(max),
            LimitValue::Unlimited => None,
        };
        Ok(Self {
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks_per_second as f64,
            start_seconds: procfs::boot_time_secs()? + stat.starttime / ticks_per_second,
            open_fds: process.fd_count()? as u64,
            max_fds,
        })
    }
}

/// Registers the metrics of the process; none where /proc cannot be read.
pub(crate) fn register_usage(registry: &mut Registry) {
    let Ok(usage) = Usage::read() else {
        return;
    };
    let mut gauge = |name: &str, help: &str, value: u64| register(registry, name, help, value);
    gauge("resident_memory_bytes", "Resident memory", usage.resident_bytes);
    gauge("virtual_memory_bytes", "Virtual memory", usage.virtual_bytes);
    gauge("start_time_seconds", "Start of the process in Unix time", usage.start_seconds);
    gauge("open_fds", "Open file descriptors", usage.open_fds);
    if let Some(max) = usage.max_fds {
        gauge("max_fds", "Limit of open file descriptors", max);
    }
    register_counter(
        registry,
        "cpu_seconds",
        "Time on processors, of user and system",
        usage.cpu_seconds,
    );
}
