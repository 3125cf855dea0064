import { Command, CommanderError, Help, type Option } from 'commander'
import { AppError, OperatorError } from '../src/kernel/errors.ts'
import { version } from '../src/version.ts'
import { errorText, printProblem } from './output.ts'

/** Exit codes: the work failed, or the command was used wrongly. */
const failed = 1
const wrongUse = 2

/** What commander says about wrong use, kept until it is known whether it is a mistake or a question for help. */
let saying = ''

/** As commander says it, and whether it can be left out: that is nowhere else in the help. */
const optionDescription = (option: Option): string => {
  const said = new Help().optionDescription(option)
  return option.mandatory ? `${said} (required)` : said
}

/** The program `freehold` without its commands. Everything added to it answers `--help`, and mistakes in the same way. */
export const createProgram = (): Command =>
  new Command('freehold')
    .description("Runs a Freehold installation: its tenants, their databases, the server's health.")
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed, 2 wrong use. Settings come from the environment and .env, as for npm start.',
    )
    .exitOverride()
    .configureHelp({ optionDescription })
    .configureOutput({
      writeErr: (text) => {
        saying += text
      },
    })

/** A group of commands about one kind of thing. */
export const noun = (program: Command, name: string, description: string): Command =>
  program.command(name).description(description).helpCommand(false).option('--json', 'print JSON')

/** A command. */
export const verb = (parent: Command, name: string, description: string): Command =>
  parent.command(name).description(description).option('--json', 'print JSON')

/** The whole command as it is typed, such as `freehold tenant create`. */
const fullName = (command: Command): string =>
  command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`

/** The command that the words lead to, as far as they are commands. */
const commandOf = (program: Command, words: readonly string[]): Command => {
  const [word, ...rest] = words.filter((each) => !each.startsWith('-'))
  const child = program.commands.find((command) => command.name() === word)
  return child === undefined ? program : commandOf(child, rest)
}

/** Asked of the environment itself: the configuration may be what is wrong. */
const wantsStack = (): boolean => ['debug', 'trace'].includes(process.env.LOG_LEVEL ?? '')

const explain = (error: unknown): { code: string; lines: readonly string[] } => {
  if (error instanceof OperatorError) return { code: 'failed', lines: error.lines }
  if (error instanceof AppError) return { code: error.code, lines: [error.message] }
  const hint = wantsStack() ? [] : ['run with LOG_LEVEL=debug for the stack']
  return { code: 'internal', lines: [errorText(error), ...hint] }
}

const printStack = (error: unknown): void => {
  for (let each = error; each instanceof Error; each = each.cause) process.stderr.write(`${each.stack}\n`)
}

/** Commander ends with an "error" for help and version too; the text is then the answer, on standard output. */
const answerCommander = (program: Command, argv: readonly string[], error: CommanderError): number => {
  if (error.exitCode === 0) return 0
  if (error.code === 'commander.help') {
    process.stdout.write(saying)
    return 0
  }
  const [sentence = '', ...more] = saying.trim().split('\n')
  const lines = [
    sentence.replace(/^error: /, ''),
    ...more,
    `see ${fullName(commandOf(program, argv))} --help`,
  ]
  printProblem({ code: 'wrong_use', lines }, argv.includes('--json'))
  return wrongUse
}

/**
 * Runs the command that `argv` names and sets the exit code. What went wrong is said on standard error in one line, with
 * `--json` as `{ "error": { "code", "message" } }`; a stack only with LOG_LEVEL=debug.
 */
export const run = async (program: Command, argv: readonly string[]): Promise<void> => {
  // Whoever reads our output may leave early, as `head` does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = answerCommander(program, argv, error)
      return
    }
    if (wantsStack()) printStack(error)
    printProblem(explain(error), argv.includes('--json'))
    process.exitCode = failed
  }
}
