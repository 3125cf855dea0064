/** True for this machine itself, as it stands in a URL: `localhost`, a name under it, 127.0.0.0/8, `[::1]`. */
export const isLoopbackHost = (host: string): boolean =>
  /^((.+\.)?localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host)

/** Reached by TLS, or without leaving this machine: nobody on the way reads or changes what is sent. */
export const isSafeAddress = ({ protocol, hostname }: URL): boolean =>
  protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname))

/** Reads origins such as `https://app.example.com`, separated by commas. Throws an Error that says what is accepted. */
export const readOrigins = (text: string): readonly string[] =>
  Object.freeze(
    text.split(',').map((part) => {
      const url = URL.parse(part.trim())
      if (url === null || url.origin !== part.trim() || /\*/.test(url.host) || !isSafeAddress(url)) {
        throw new Error(
          'must be origins like https://app.example.com, separated by commas; http only on this machine itself',
        )
      }
      return url.origin
    }),
  )
