// A real OpenID provider (npm oidc-provider) on loopback, for the tests of signing in.
//
//   node server.mjs REDIRECT_URI
//
// It prints its issuer, client id and client secret as one line of JSON, and ends with its standard input.
// Whoever types a name is let in; the name is the subject. `ada@example.org` has that address, verified;
// `doubtful:ada@example.org` has it unverified; any other name has none.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const [redirectUri] = process.argv.slice(2);
const client = { client_id: 'kinledger', client_secret: 'a secret of the tests, and of nothing else' };

const claimsOf = (name) => {
  const [, doubt, email] = /^(doubtful:)?(.+@.+)$/.exec(name) ?? [];
  return { sub: name, name: 'Ada Lovelace', ...(email && { email, email_verified: !doubt }) };
};

const configuration = {
  clients: [{ ...client, redirect_uris: [redirectUri] }],
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: ['of the tests, and of nothing else'] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, name) => ({ accountId: name, claims: () => claimsOf(name) }),
  pkce: { required: () => true },
};

console.info = console.warn = () => {};
const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration).callback());
  process.stdout.write(`${JSON.stringify({ issuer, ...client })}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
