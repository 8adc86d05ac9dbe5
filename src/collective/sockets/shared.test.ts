// The contract of transports between processes, over memory that they share.
import { transportContract } from "../testing-contract.ts";
import { runProcesses } from "../testing-processes.ts";

transportContract("shared", runProcesses("shared"), { sizes: [2, 3] });
