"""Models that run without torch: `focus export` makes them, `focus predict --backend onnx` uses them."""

import os

# Since 1.29, onnxruntime's official builds report models and devices to their vendor, with an identifier that they leave in
# the user's cache folder, unless this is set before onnxruntime is loaded. Set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
