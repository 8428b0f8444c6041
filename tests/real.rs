//! Real Ray on machines that really run. A machine with Ray takes a processor for seconds: few machines, one cluster
//! for many steps, and one test at a time.

mod faults;
mod lab;
mod plain;
