"""The imports of every worker process, loaded once for all of them."""

import costlab.guidelines.pricing
import costlab.latency._predict
import costlab.models.inputs
import costlab.models.providers.user_code
import costlab.models.providers.zoo
import costlab.sweeps.rows
import costlab.tracing._profile
import costlab.tracing.forward  # noqa: F401
