//! The `rayward` program.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use rayward::{
    admin::{self, Pages},
    config::{Cli, Command, Config},
    controller::{Controller, Parts, pass::Settings, regions::AwsCloud, startup},
    metrics::Metrics,
    shutdown::Shutdown,
    telemetry,
    validate::Installation,
};

fn main() -> ExitCode {
    let result = match Cli::read().command {
        Command::Crd => print_crd(),
        Command::Run(config) => run(*config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where standard error is gone too, nobody is left to tell.
            let _ = writeln!(io::stderr(), "rayward: {message}");
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> Result<(), String> {
    let text = rayward::api::crd_yaml().map_err(|error| format!("the CRD cannot be printed: {error}"))?;
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| format!("the CRD cannot be printed: {error}")),
    }
}

fn run(config: Config) -> Result<(), String> {
    telemetry::start(config.log_format, &config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the process cannot start its threads: {error}"))?;
    let result = runtime.block_on(control(config));
    // What was not finished in its time is given up; its launches are on record.
    runtime.shutdown_background();
    result
}

async fn control(config: Config) -> Result<(), String> {
    let shutdown = Shutdown::default();
    shutdown
        .on_signal()
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let stop = shutdown.token().clone();
    let startup::Found { client, installation } = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        found = startup::look(&config) => found?,
    };
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let listener = admin::listen(config.admin_address).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), installation, "rayward starts");
    let (controller, events) = Controller::new(Parts {
        client,
        cloud: Arc::new(AwsCloud {
            fence: Arc::new(shutdown),
            observer: metrics.clone(),
            call_timeout: config.call_timeout,
        }),
        settings: Settings {
            installation: Installation {
                id: installation,
                egress_cidrs: config.egress_cidrs.clone(),
            },
            limits: config.limits(),
            bounds: config.bounds(),
            pass_timeout: config.pass_timeout,
        },
        intervals: config.intervals(),
        watch_namespace: config.watch_namespace.clone(),
        concurrency: config.concurrency,
        metrics: metrics.clone(),
        stop: stop.clone(),
    });
    let pages = Pages {
        metrics,
        readiness: controller.readiness(),
    };
    let events = tokio::spawn(events);
    // The pages stay up until the work is finished.
    let finished = tokio_util::sync::CancellationToken::new();
    let pages = tokio::spawn(admin::serve(listener, pages, finished.clone()));
    let result = controller.run().await;
    drop(controller);
    finished.cancel();
    let _ = tokio::time::timeout(rayward::shutdown::LAST_WORDS, async {
        let _ = events.await;
        let _ = pages.await;
    })
    .await;
    tracing::info!("rayward ends");
    result
}
