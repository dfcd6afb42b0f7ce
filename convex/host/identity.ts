import type { UserIdentity } from "convex/server";

/**
 * Who a token says its bearer is; null where it is no JSON Web Token. The signature is not looked at: this host is for
 * development and tests.
 */
export function identityOf(token: string): Partial<UserIdentity> | null {
  const payload = token.split(".")[1];
  if (payload === undefined) return null;
  try {
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
    if (typeof claims.sub !== "string") return null;
    return {
      subject: claims.sub,
      ...(typeof claims.iss === "string" ? { issuer: claims.iss } : {}),
      ...(typeof claims.name === "string" ? { name: claims.name } : {}),
      ...(typeof claims.email === "string" ? { email: claims.email } : {}),
    };
  } catch {
    return null;
  }
}
