"""Published families of networks: one module per family, one function per network."""

from costlab.zoo._mobilenet_v1 import mobilenet_v1
from costlab.zoo._mobilenet_v2 import mobilenet_v2
from costlab.zoo._mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from costlab.zoo._shufflenet_v1 import shufflenet_v1
from costlab.zoo._shufflenet_v2 import shufflenet_v2

__all__ = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "shufflenet_v1", "shufflenet_v2"]
