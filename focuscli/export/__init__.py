"""Models that run without torch: `focus export` makes them, `focus predict --backend onnx` uses them."""
