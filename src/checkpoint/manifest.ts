// `manifest.json` of a checkpoint: what files it has, their sizes and hashes, and a checksum of itself. It is written last,
// so a folder that has a manifest is complete.
import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { asCheckpointError, CheckpointError } from "./error.ts";
import { readAll } from "./files.ts";

export const MANIFEST = "manifest.json";
export const STATE = "state.json";
const FORMAT = "flotilla-checkpoint";
const VERSION = 1;
const MAX_MANIFEST_BYTES = 64 << 20;
const HELP = "restore the folder from a copy, or use another checkpoint";

const count = z.int().nonnegative();
/** A name without folders: a manifest must not lead out of its checkpoint. */
const fileName = z.string().regex(/^[\w%-][\w%.-]*$/);
const bodySchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  tool: z.string(),
  createdAt: z.string(),
  files: z.array(
    z.strictObject({
      name: fileName,
      bytes: count,
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
  tensors: z.array(fileName),
  tables: z.array(
    z.strictObject({
      name: z.string(),
      rows: count,
      columns: z.array(z.strictObject({ name: z.string(), width: z.int().positive() })),
      files: z.array(z.strictObject({ name: fileName, rows: count })),
    }),
  ),
});

export type ManifestBody = z.infer<typeof bodySchema>;
export type ManifestFile = ManifestBody["files"][number];
export type ManifestTable = ManifestBody["tables"][number];

export function newManifest(
  parts: Pick<ManifestBody, "tool" | "createdAt" | "files" | "tensors" | "tables">,
): ManifestBody {
  const { tool, createdAt, files, tensors, tables } = parts;
  return { format: FORMAT, version: VERSION, tool, createdAt, files, tensors, tables };
}

export function encodeManifest(body: object): string {
  return `${JSON.stringify({ ...body, checksum: checksumOf(body) }, null, 2)}\n`;
}

function checksumOf(body: object): string {
  return createHash("sha256").update(JSON.stringify(body)).digest("hex");
}

/** Whether a manifest was written by this program, damaged or not. */
export async function isOurs(path: string): Promise<boolean> {
  return (await readFile(path, "utf8")).includes(FORMAT);
}

/** The manifest of the checkpoint in `folder`. @throws CheckpointError when it is missing, foreign, damaged or newer. */
export async function readManifest(folder: string): Promise<ManifestBody> {
  const path = join(folder, MANIFEST);
  return parseManifest(path, await readText(path, folder));
}

/** @throws CheckpointError naming `path`. */
export function parseManifest(path: string, text: string): ManifestBody {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(path, `is not JSON, so it is damaged or truncated; ${HELP}`, { cause });
  }
  if (typeof value !== "object" || value === null || !("format" in value) || value.format !== FORMAT) {
    throw new CheckpointError(path, `does not say "format": "${FORMAT}"; it belongs to another program or is damaged`);
  }
  const { checksum, ...body } = value as { checksum?: unknown; version?: unknown };
  // Only the very bytes that were written pass: a change in white space or in the order of keys fails too.
  const intact = checksum === checksumOf(body) && text === encodeManifest(body);
  if (intact && body.version !== VERSION) {
    throw new CheckpointError(
      path,
      `has format version ${JSON.stringify(body.version)}, this program reads version ${VERSION}; use the version of flotilla that wrote it`,
    );
  }
  if (!intact) throw new CheckpointError(path, `is damaged: its checksum does not match; ${HELP}`);
  const parsed = bodySchema.safeParse(body);
  if (!parsed.success) throw new CheckpointError(path, `is malformed: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

async function readText(path: string, folder: string): Promise<string> {
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") {
      throw new CheckpointError(folder, `is no checkpoint: it has no ${MANIFEST}; name the folder that was saved`, {
        cause,
      });
    }
    if (cause.code === "ENOTDIR") {
      throw new CheckpointError(folder, "is a file; a checkpoint is a folder, name the one that was saved", { cause });
    }
    throw asCheckpointError(path, "cannot be opened", cause);
  });
  try {
    const { size } = await file.stat();
    if (size > MAX_MANIFEST_BYTES) {
      throw new CheckpointError(path, `has ${size} bytes, more than any manifest; it belongs to another program`);
    }
    const bytes = new Uint8Array(size);
    await readAll(file, path, bytes, 0);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw asCheckpointError(path, `cannot be read, it may be damaged; ${HELP}`, cause);
  } finally {
    await file.close();
  }
}
