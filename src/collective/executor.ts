// Carries out the schedule of a call over a transport: posts sends, takes receives, reduces, converts. One executor serves one
// thread; it allocates nothing in the heap but its notes and room to encode half precision in.
import type { Heap } from "../memory/index.ts";
import { compareNotes, NOTE_BYTES } from "./agreement.ts";
import { type DecidedCall, elementBytes } from "./call.ts";
import { type Reduction, reduction, type Wire, wireOf } from "./reduction.ts";
import type { Receive, Schedule, Send, Step } from "./schedule.ts";
import type { Transport } from "./transport.ts";

/** A call with everything that can be made ready before it runs. */
export interface PreparedCall {
  readonly call: DecidedCall;
  readonly schedule: Schedule;
  readonly note: Uint8Array;
}

/** Parts of a shared all-reduce begin at multiples of this many elements, so that no two threads write one cache line. */
const LINE_ELEMENTS = 16;

export class Executor {
  readonly #transport: Transport;
  readonly #heap: Heap;
  readonly #kernels: Reduction;
  /** This rank's note, and a place for a peer's. */
  readonly #notes: number;
  readonly #ownNote: Uint32Array;
  readonly #peerNote: Uint32Array;
  readonly #noteBytes: Uint8Array;
  /** By peer, the last call whose note went there, and came from there. */
  readonly #told: Float64Array;
  readonly #heard: Float64Array;
  #scratch = 0;
  #scratchBytes = 0;
  #number = 0;

  constructor(transport: Transport, heap: Heap) {
    this.#transport = transport;
    this.#heap = heap;
    this.#kernels = reduction(heap);
    this.#notes = heap.alloc(2 * NOTE_BYTES);
    this.#ownNote = heap.u32(this.#notes, NOTE_BYTES / 4);
    this.#peerNote = heap.u32(this.#notes + NOTE_BYTES, NOTE_BYTES / 4);
    this.#noteBytes = heap.u8(this.#notes, NOTE_BYTES);
    this.#told = new Float64Array(transport.size);
    this.#heard = new Float64Array(transport.size);
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#number;
  }

  run({ call, schedule, note }: PreparedCall): void {
    this.#number++;
    this.#noteBytes.set(note);
    this.#ownNote[1] = this.#number;
    if (call.algorithm === "shared" && this.#runShared(call)) return;
    const wire = wireOf(this.#kernels, call.wire, call.op);
    if (wire.half !== undefined) this.#reserve(wire.bytes * call.count);
    for (const step of schedule.steps) this.#runStep(step, call, wire, schedule.into);
    this.#transport.flush();
  }

  /** Gives the heap back what the executor took. */
  free(): void {
    this.#heap.free(this.#notes);
    if (this.#scratchBytes > 0) this.#heap.free(this.#scratch);
    this.#scratchBytes = 0;
  }

  #runStep(step: Step, call: DecidedCall, wire: Wire, into: "data" | "output"): void {
    const bytes = elementBytes[call.dtype];
    for (const send of step.sends) this.#send(send, call.address, bytes, wire);
    const target = into === "data" ? call.address : call.output!;
    for (const receive of step.receives) this.#receive(receive, target, bytes, wire);
    for (const { start, count, to } of step.copies ?? []) {
      this.#kernels.copyBytes(call.output! + bytes * to, call.address + bytes * start, bytes * count);
      if (wire.half !== undefined) this.#round(call.output!, to, count, wire);
    }
    for (const { start, count } of step.finish ?? []) {
      if (call.op === "mean") this.#kernels.scaleF32(call.address + 4 * start, count, 1 / this.#transport.size);
      if (wire.half !== undefined) this.#round(call.address, start, count, wire);
    }
  }

  #send({ peer, start, count }: Send, data: number, bytes: number, wire: Wire): void {
    if (this.#told[peer] !== this.#number) {
      this.#told[peer] = this.#number;
      this.#transport.send(peer, this.#notes, NOTE_BYTES);
    }
    if (wire.half === undefined) {
      this.#transport.send(peer, data + bytes * start, bytes * count);
      return;
    }
    // A range's place in the scratch memory stays as it is until the peer has it: what comes later for the range
    // depends on what was sent.
    const encoded = this.#scratch + 2 * start;
    wire.half.encode(encoded, data + 4 * start, count);
    this.#transport.send(peer, encoded, 2 * count);
  }

  #receive({ peer, start, count, reduce }: Receive, target: number, bytes: number, wire: Wire): void {
    if (this.#heard[peer] !== this.#number) {
      this.#heard[peer] = this.#number;
      this.#hear(peer);
    }
    if (wire.half === undefined && !reduce) {
      this.#transport.receive(peer, target + bytes * start, bytes * count);
      return;
    }
    const most = this.#transport.pieceBytes / wire.bytes;
    const take = reduce ? wire.reduce : wire.half!.decode;
    for (let done = 0; done < count; done += most) {
      const length = Math.min(most, count - done);
      take(target + 4 * (start + done), this.#transport.borrow(peer, wire.bytes * length), length);
      this.#transport.release(peer);
    }
  }

  /** Takes the peer's note and compares it. */
  #hear(peer: number): void {
    this.#compare(this.#transport.borrow(peer, NOTE_BYTES), peer);
    this.#transport.release(peer);
  }

  #compare(address: number, peer: number): void {
    // Where it lies it may not be aligned.
    this.#kernels.copyBytes(this.#notes + NOTE_BYTES, address, NOTE_BYTES);
    compareNotes(this.#ownNote, this.#peerNote, this.#transport.rank, peer);
  }

  /** Numbers as the wire carries them, so that this rank keeps what the others get. */
  #round(address: number, start: number, count: number, { half }: Wire): void {
    half!.encode(this.#scratch + 2 * start, address + 4 * start, count);
    half!.decode(address + 4 * start, this.#scratch + 2 * start, count);
  }

  /** Each rank reduces its part of all buffers and writes the result to all of them. False where they cannot be read. */
  #runShared({ address, count, op }: DecidedCall): boolean {
    const { rank, size } = this.#transport;
    const shared = this.#transport.shared!;
    const table = shared.exchange(address, this.#notes);
    for (let peer = 0; peer < size; peer++) if (peer !== rank) this.#compare(shared.note(peer), peer);
    if (table !== 0) {
      const cut = (part: number): number =>
        part === size ? count : Math.floor((count * part) / size / LINE_ELEMENTS) * LINE_ELEMENTS;
      const start = cut(rank);
      const factor = op === "mean" ? 1 / size : 1;
      const reduceAll = op === "max" ? this.#kernels.maxAllF32 : this.#kernels.sumAllF32;
      reduceAll(table, size, start, cut(rank + 1) - start, factor);
    }
    shared.barrier();
    return table !== 0;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    if (this.#scratchBytes > 0) this.#heap.free(this.#scratch);
    this.#scratch = this.#heap.alloc(bytes);
    this.#scratchBytes = bytes;
  }
}
