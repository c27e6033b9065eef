"""Language models over tokens: training, bits per second of audio, continuation, export. The body is Llama of `transformers`."""
