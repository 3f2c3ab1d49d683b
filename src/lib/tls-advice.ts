/** What to do about a TLS connection to a database or a broker that fails, by the code of the error. */
const ADVICE: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the server's certificate has expired: renew it; is the clock of this host right?",
  CERT_NOT_YET_VALID: "the server's certificate is not valid yet: is the clock of this host right?",
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: 'the key is not that of the certificate: name the files of one pair',
  ERR_OSSL_PEM_NO_START_LINE: 'a file of certificates or keys in the URL is not a PEM file',
};
const UNKNOWN_AUTHORITY = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** @param authorities the parameter of the URL that names the certificates of authorities */
export function tlsAdvice(code: string, authorities: string): string | undefined {
  if (UNKNOWN_AUTHORITY.has(code))
    return `no authority that is known here signed the server's certificate: name its file in ${authorities}`;
  return ADVICE[code];
}
