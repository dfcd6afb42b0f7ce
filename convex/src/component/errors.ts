/** The errors of refused calls and documents. */
import { ConvexError } from "convex/values";
import type { ErrorData, Refusal, RefusalCode } from "./shapes.js";

/** The refusal of a document. */
export class Refused extends Error {
  constructor(
    readonly code: RefusalCode,
    message: string,
    readonly limit?: number,
  ) {
    super(message);
  }

  /** As the result of a push. */
  toResult(id: string): Refusal {
    const result: Refusal = { id, status: "refused", code: this.code, message: this.message };
    if (this.limit !== undefined) result.limit = this.limit;
    return result;
  }

  /** As the error of a call about this one document. */
  toError(id: string): ConvexError<ErrorData> {
    return refusalError({ ...this.toResult(id) });
  }
}

/** The error that a call fails with for a refused document. */
export function refusalError({ id, code, message, limit }: Refusal): ConvexError<ErrorData> {
  return refuse({ code, message, document: id, ...(limit === undefined ? {} : { limit }) });
}

/** The error every function of the wire fails with. */
export function refuse(data: ErrorData): ConvexError<ErrorData> {
  return new ConvexError(data);
}
