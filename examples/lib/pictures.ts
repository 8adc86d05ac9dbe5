// Labelled pictures for the examples: MNIST's IDX files, CIFAR-10's binary files, or drawn ones where no folder is given.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { data } from "../../src/index.ts";
import { generator } from "./random.ts";

export interface Pictures {
  /** [rows, height, width, channels], about −1 to 1. */
  readonly image: Float32Array;
  readonly label: Int32Array;
  /** Of a picture. */
  readonly shape: readonly [number, number, number];
}

const toNumber = (byte: number): number => byte / 127.5 - 1;

/** `PART-images-idx3-ubyte` and `PART-labels-idx1-ubyte`, also with `.gz`: MNIST, Fashion-MNIST. */
export function readIdx(folder: string, part: "train" | "t10k"): Pictures {
  const images = readFile(folder, `${part}-images-idx3-ubyte`, 0x803);
  const labels = readFile(folder, `${part}-labels-idx1-ubyte`, 0x801);
  const [rows, height, width] = [4, 8, 12].map((at) => images.readUInt32BE(at)) as [number, number, number];
  const pixels = images.subarray(16);
  if (pixels.length !== rows * height * width || labels.length !== 8 + rows) {
    throw new Error(`${folder}: ${part} should have ${rows} pictures of ${height} × ${width} and as many labels`);
  }
  return {
    image: Float32Array.from(pixels, toNumber),
    label: Int32Array.from(labels.subarray(8)),
    shape: [height, width, 1],
  };
}

function readFile(folder: string, name: string, magic: number): Buffer {
  const path = join(folder, name);
  const bytes = existsSync(path) ? readFileSync(path) : gunzipSync(readFileSync(`${path}.gz`));
  if (bytes.length < 16 || bytes.readUInt32BE(0) !== magic) throw new Error(`${path} is no IDX file of this kind`);
  return bytes;
}

const SIDE = 32;
const PLANE = SIDE * SIDE;

/** `data_batch_1.bin` … or `test_batch.bin`: a byte for the label, then the three planes of a picture. */
export function readCifar(folder: string, part: "data" | "test"): Pictures {
  const names = readdirSync(folder).filter((name) => name.startsWith(`${part}_batch`) && name.endsWith(".bin"));
  const bytes = Buffer.concat(names.sort().map((name) => readFileSync(join(folder, name))));
  const rows = bytes.length / (1 + 3 * PLANE);
  if (rows === 0 || !Number.isInteger(rows)) throw new Error(`${folder} has no whole files ${part}_batch….bin`);
  const image = new Float32Array(rows * 3 * PLANE);
  const label = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const start = row * (1 + 3 * PLANE);
    label[row] = bytes[start]!;
    for (let i = 0; i < 3 * PLANE; i++) {
      image[row * 3 * PLANE + 3 * (i % PLANE) + Math.floor(i / PLANE)] = toNumber(bytes[start + 1 + i]!);
    }
  }
  return { image, label, shape: [SIDE, SIDE, 3] };
}

/** Ten kinds of patterns, moved about and with noise. */
export function drawPictures(rows: number, shape: Pictures["shape"], seed: number): Pictures {
  const [height, width, channels] = shape;
  const cells = 5;
  const kinds = generator(7);
  const patterns = Array.from({ length: 10 * cells * cells * channels }, () => (kinds() < 0.5 ? -0.6 : 0.6));
  const random = generator(seed);
  const image = new Float32Array(rows * height * width * channels);
  const label = Int32Array.from({ length: rows }, () => Math.floor(10 * random()));
  for (let row = 0, at = 0; row < rows; row++) {
    const [down, right] = [random(), random()].map((x) => Math.floor(4 * x)) as [number, number];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const cell = Math.floor((cells * ((y + down) % height)) / height) * cells;
        const place = cell + Math.floor((cells * ((x + right) % width)) / width);
        for (let c = 0; c < channels; c++, at++) {
          image[at] = patterns[(label[row]! * cells * cells + place) * channels + c]! + 1.6 * (random() - 0.5);
        }
      }
    }
  }
  return { image, label, shape };
}

/** The first `rows` pictures. */
export function datasetOf(pictures: Pictures, rows: number, options: data.TensorOptions): data.Dataset {
  const { image, label, shape } = pictures;
  const count = Math.min(rows, label.length);
  const size = shape[0] * shape[1] * shape[2];
  return data.tensors(
    {
      image: { data: image.subarray(0, count * size), shape: [count, ...shape] },
      label: { data: label.subarray(0, count), shape: [count] },
    },
    options,
  );
}
