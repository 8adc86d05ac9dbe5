// The contract of transports between processes with encrypted connections, and what a relay refuses.
import { transportContract } from "../testing-contract.ts";
import { runProcesses } from "../testing-processes.ts";

transportContract("tls", runProcesses("tls"), { sizes: [2, 3] });
