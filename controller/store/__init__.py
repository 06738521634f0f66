"""Where data rests: engines, outbox, durable jobs, usage log, time series and secrets."""
