//! Rayward as its users see it: a real API server, a stand-in for AWS, the built program. One file a behaviour.
//!
//! All of it is one binary, which links once and shares one control plane. It runs inside the sandbox's boundary.

#[cfg(test)]
#[allow(
    dead_code,
    reason = "the harness is shared with the demo, and each uses its part of it"
)]
mod support;

#[cfg(test)]
#[allow(
    dead_code,
    reason = "the account is shared with the measurements, and each uses its part of it"
)]
mod fake;

#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod convergence;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crd;
#[cfg(test)]
mod dark_ray;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod existing_network;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod light;
#[cfg(test)]
mod line_length;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod network;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod process;
#[cfg(test)]
mod ray;
#[cfg(test)]
mod real;
#[cfg(test)]
mod refused_looks;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod software;
#[cfg(test)]
mod status;
#[cfg(test)]
mod suspend;
#[cfg(test)]
mod unreadable;
#[cfg(test)]
mod weather;
