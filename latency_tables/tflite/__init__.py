"""Networks as TFLite flatbuffers, written directly: for LiteRT, Ethos-U and TensorFlow Lite Micro."""
