"""What every worker process needs, imported once for all of them."""

import costlab.guidelines.pricing
import costlab.latency.predicting
import costlab.loading.user_code
import costlab.loading.zoo_models
import costlab.profiling
import costlab.sweeping.rows
import costlab.tracing.forward  # noqa: F401
