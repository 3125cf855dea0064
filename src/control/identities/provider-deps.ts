import type { Config } from '../../kernel/config.ts'
import type { Provider } from '../../oidc/provider.ts'
import type { ControlDeps } from '../control-deps.ts'
import type { Travellers } from './travellers.ts'

/** What signing in with providers works with. */
export type ProviderDeps = ControlDeps & {
  providers: readonly Provider[]
  travellers: Travellers
  returnOrigins: readonly string[]
  signUp: Config['signUp']
}
