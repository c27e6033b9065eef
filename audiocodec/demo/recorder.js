// Runs beside the page: hands on what the microphone gives, as it is, in blocks of 128 samples.

class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}

registerProcessor("recorder", Recorder);
