// The API's shapes, as docs/openapi.json has them.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type Phase = Schemas["Phase"];
export type Explanation = Schemas["Explanation"];
export type ComputeFunction = Schemas["Function"];
export type Queue = Schemas["Queue"];
export type MachineCapacity = Schemas["MachineCapacity"];
export type SharedCpus = Schemas["SharedCpus"];
export type Estimate = Schemas["Estimate"];
export type Estimates = Schemas["Estimates"];
export type HistoryReport = Schemas["HistoryReport"];
export type HistoryWindow = Schemas["Window"];
export type HistorySlot = Schemas["Slot"];
export type UsageOverTime = Schemas["UsageOverTime"];
export type Progress = Schemas["Progress"];
export type Failure = Schemas["Failure"];
export type BlobRef = Schemas["BlobRef"];
export type ProblemDocument = Schemas["ProblemDocument"];

export const PHASES: Phase[] = ["Queued", "Starting", "Running", "Succeeded", "Failed", "Cancelled"];

export function isFinished(phase: Phase | undefined): boolean {
  return phase === "Succeeded" || phase === "Failed" || phase === "Cancelled";
}
