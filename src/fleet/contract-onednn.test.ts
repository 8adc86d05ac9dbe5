// Every training mode on oneDNN, where it can be loaded.
import { describe } from "vitest";
import { whyAbsent } from "../engine/providers/testing.ts";
import { trainingContract } from "./contract.ts";

const absent = whyAbsent("onednn");
describe.skipIf(absent)(`onednn${absent ? ` (skipped: ${absent})` : ""}`, () => trainingContract("onednn"));
