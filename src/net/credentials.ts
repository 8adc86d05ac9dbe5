// Reading a folder of keys: what a process needs to prove who it is and to check others.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectionError } from "./error.ts";

export interface Credentials {
  /** The authorities whose certificates are trusted, as PEM; during a rotation the new and the old one. */
  readonly ca: string;
  /** The certificate and, after a rotation, how the old authority vouches for the new one. */
  readonly cert: string;
  readonly key: string;
}

export const keyFiles = {
  authority: "ca.pem",
  authorityKey: "ca.key",
  certificate: (role: string): string => `${role}.pem`,
  key: (role: string): string => `${role}.key`,
} as const;

/** @throws ConnectionError that names the file and what to do */
export async function readCredentials(folder: string, role: string): Promise<Credentials> {
  const [ca, cert, key] = await Promise.all(
    [keyFiles.authority, keyFiles.certificate(role), keyFiles.key(role)].map((name) => readPem(join(folder, name))),
  );
  return { ca: ca!, cert: cert!, key: key! };
}

async function readPem(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ConnectionError(`${path}: cannot be read: ${cause.code}; make keys by \`flotilla keys make\``, { cause });
  });
  if (!text.includes("-----BEGIN ")) {
    throw new ConnectionError(`${path}: holds no PEM; make keys anew by \`flotilla keys make\``);
  }
  return text;
}
