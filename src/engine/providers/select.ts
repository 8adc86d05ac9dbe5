// Chooses the provider of this process, and gives every other thread the same one.
import type { Heap } from "../../memory/index.ts";
import type { Provider } from "../provider.ts";
import type { Choices } from "./onednn/choose.ts";
import { findOneDnn, type OneDnn, openOneDnn } from "./onednn/library.ts";
import { oneDnnProvider } from "./onednn/provider.ts";
import { wasmProvider } from "./wasm/provider.ts";

export type ProviderName = Provider["name"];

/** Plain data that makes the same provider in another thread. */
export interface ProviderDescription {
  readonly name: ProviderName;
  /** Of oneDNN: the library, its version, and which way each shape takes. */
  readonly path?: string;
  readonly version?: string;
  readonly choices?: Choices;
  /** Of oneDNN: whether ways are taken by rule alone, not by measurement; `choices` are then left aside. */
  readonly byRule?: boolean;
  /** Of oneDNN: whether convolutions may take Winograd's algorithm; default true. */
  readonly winograd?: boolean;
  /** Why a faster provider was not taken. */
  readonly reason?: string;
}

export interface SelectedProvider extends Provider {
  /** As of now: shapes that were bound since the last call are included. */
  describe(): ProviderDescription;
}

export interface SelectOptions {
  /** Default: oneDNN where it can be loaded, else WASM. FLOTILLA_PROVIDER overrules it. */
  readonly prefer?: ProviderName;
  /** Default: this process's environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const names: readonly string[] = ["wasm", "onednn"] satisfies ProviderName[];

/**
 * The provider for this process: what FLOTILLA_PROVIDER (`wasm` or `onednn`) forces, else what the caller prefers, else
 * the fastest that is there.
 * @throws when FLOTILLA_PROVIDER names no provider, or oneDNN and it cannot be loaded.
 */
export function selectProvider(heap: Heap, options: SelectOptions = {}): SelectedProvider {
  const env = options.env ?? process.env;
  const forced = env.FLOTILLA_PROVIDER || undefined;
  if (forced !== undefined && !names.includes(forced)) {
    throw new Error(`FLOTILLA_PROVIDER is "${forced}", expected "wasm" or "onednn"`);
  }
  const wanted = forced ?? options.prefer;
  if (wanted === "wasm") return describedWasm(heap);
  const { library, problems } = findOneDnn(env);
  if (library) return describedOneDnn(heap, library);
  const reason = problems.join("; ");
  if (forced === "onednn") {
    throw new Error(`FLOTILLA_PROVIDER is "onednn", but ${reason}; run \`flotilla doctor --fix\` or unset it`);
  }
  return describedWasm(heap, reason);
}

/** The provider that another thread described. @throws when its library cannot be loaded here. */
export function attachProvider(heap: Heap, description: ProviderDescription): SelectedProvider {
  if (description.name === "wasm") return describedWasm(heap, description.reason);
  if (description.path === undefined) throw new Error("attachProvider: a description of onednn needs its path");
  return describedOneDnn(heap, openOneDnn(description.path), description);
}

function describedWasm(heap: Heap, reason?: string): SelectedProvider {
  return { ...wasmProvider(heap), describe: () => ({ name: "wasm", ...(reason === undefined ? {} : { reason }) }) };
}

function describedOneDnn(
  heap: Heap,
  library: OneDnn,
  { choices = {}, byRule = false, winograd = true }: Pick<ProviderDescription, "choices" | "byRule" | "winograd"> = {},
): SelectedProvider {
  const without = winograd ? undefined : "winograd";
  const provider = oneDnnProvider(heap, library, byRule ? { byRule } : { choices, without });
  const { path, native } = library;
  return {
    ...provider,
    describe: () => ({ name: "onednn", path, version: native.version, choices: provider.choices(), byRule, winograd }),
  };
}
