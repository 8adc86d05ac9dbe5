// Every training mode on the WASM engine.
import { describe } from "vitest";
import { trainingContract } from "./contract.ts";

describe("wasm", () => trainingContract("wasm"));
