// The microphone as a WAV file: samples as they come, without the browser's own coding, echo canceller or level control.

const MICROPHONE = {
  NotAllowedError: "The microphone was refused. Allow it for this page in the browser (the sign beside the address), or choose a file.",
  NotFoundError: "There is no microphone. Connect one and press Record again, or choose a file.",
  NotReadableError: "The microphone cannot be used: another program may have it. Close that program, or choose a file.",
};

class Microphone {
  // onProgress(seconds, peak) is called while it records; onEnd(blob) when it stops; stops by itself after some seconds.
  constructor(seconds, onProgress, onEnd) {
    Object.assign(this, { seconds, onProgress, onEnd, blocks: [], samples: 0 });
  }

  async start() {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error("This browser gives no microphone to this page: open it by the address that begins with http://127.0.0.1, or choose a file.");
    }
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("recorder.js");
    } catch (error) {
      this._release();
      throw new Error(MICROPHONE[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    const source = this.context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data: block }) => this._take(block);
    this.stream.getAudioTracks()[0].addEventListener("ended", () => this.stop());
    source.connect(this.node);
  }

  _take(block) {
    if (!this.context) return;
    this.blocks.push(block);
    this.samples += block.length;
    const seconds = this.samples / this.context.sampleRate;
    this.onProgress(seconds, block.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0));
    if (seconds >= this.seconds) this.stop();
  }

  stop() {
    if (!this.context) return;
    const rate = this.context.sampleRate;
    this._release();
    this.onEnd(wavFile(this.blocks, this.samples, rate));
  }

  _release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.context = null;
  }
}

// A mono WAV file of 16 bits.
function wavFile(blocks, samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const letters = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const block of blocks) {
    for (const value of block) {
      view.setInt16(at, Math.round(Math.max(-32768, Math.min(32767, value * 32768))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
