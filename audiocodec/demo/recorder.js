// Runs beside the page: hands on what the microphone gives, as it is, in blocks of samples.

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(2048);
    this.filled = 0;
  }

  process([channels]) {
    for (const value of channels[0] ?? []) {
      this.block[this.filled++] = value;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
