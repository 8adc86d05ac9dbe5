// Reading a folder of keys: what a process needs to prove who it is and to check others.
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectionError } from "./error.ts";

export interface Credentials {
  /** The authorities that are trusted, as PEM. */
  readonly ca: string;
  /** Certificate and key in one text, as PEM, followed by certificates of authorities that lead to a trusted one. */
  readonly identity: string;
}

export const keyFiles = {
  authority: "ca.pem",
  authorityKey: "ca.key",
  role: (role: string): string => `${role}.pem`,
} as const;

/** @throws ConnectionError that names the file and what to do: missing, no PEM, no longer valid */
export async function readCredentials(folder: string, role: string): Promise<Credentials> {
  const path = join(folder, keyFiles.role(role));
  const identity = await readPem(path);
  const ca = await readPem(join(folder, keyFiles.authority));
  const { validTo } = new X509Certificate(splitPem(identity)[0]!);
  if (new Date(validTo).getTime() < Date.now()) {
    throw new ConnectionError(`${path}: the certificate was valid until ${validTo}; run \`flotilla keys rotate\``);
  }
  return { ca, identity };
}

/** The certificates of a text, each as PEM. */
export function splitPem(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
}

async function readPem(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new ConnectionError(`${path}: cannot be read: ${cause.code}; make keys by \`flotilla keys make\``, { cause });
  });
  try {
    for (const certificate of splitPem(text)) new X509Certificate(certificate);
    if (splitPem(text).length > 0) return text;
  } catch (cause) {
    throw new ConnectionError(`${path}: holds a damaged certificate; make keys anew by \`flotilla keys make\``, {
      cause,
    });
  }
  throw new ConnectionError(`${path}: holds no certificate; make keys by \`flotilla keys make\``);
}
