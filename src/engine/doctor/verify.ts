// Whether a oneDNN library loads and computes rightly, found out in a child process that may crash.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { moduleUrl } from "../../memory/index.ts";

export interface VerifiedLibrary {
  readonly path: string;
  readonly version: string;
  /** Generation of the C interface. */
  readonly major: number;
  /** Whether it multiplies bf16 by the processor's own instructions. */
  readonly nativeBf16: boolean;
  readonly singleThreaded: boolean;
}

export type Verification =
  | { readonly ok: true; readonly library: VerifiedLibrary }
  | { readonly ok: false; readonly problem: string };

const TIMEOUT_MILLISECONDS = 30_000;

/** Loads the library at `path` in a child process and checks a few products and a convolution. Never rejects. */
export function verifyLibrary(
  path: string,
  script: URL = moduleUrl(import.meta.url, "verify-child"),
): Promise<Verification> {
  return new Promise((resolve) => {
    const args = [fileURLToPath(script), path];
    execFile(process.execPath, args, { timeout: TIMEOUT_MILLISECONDS, killSignal: "SIGKILL" }, (error, out, err) => {
      const told = parse(out);
      if (told !== undefined && "version" in told && !error) {
        resolve({ ok: true, library: { path, ...told } });
      } else if (told !== undefined && "problem" in told) {
        resolve({ ok: false, problem: told.problem });
      } else {
        const how = error?.signal ? `was ended by ${error.signal}` : `ended with code ${error?.code ?? 0}`;
        const last = err.trim().split("\n").at(-1);
        resolve({ ok: false, problem: `a process that loaded ${path} ${how}${last ? `: ${last}` : ""}` });
      }
    });
  });
}

type Told = Omit<VerifiedLibrary, "path"> | { problem: string };

function parse(text: string): Told | undefined {
  try {
    return JSON.parse(text.trim().split("\n").at(-1) ?? "");
  } catch {
    return undefined;
  }
}
