// Finds the verb that is meant and runs it; help and version of the program itself.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/arguments.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

std::string help() {
  std::string text =
      "cowvet: the vet for copy-on-write disk images (qcow2). No verb changes an image that exists, but "
      "'create', 'convert' and 'dd' where they are asked to.\n\n"
      "Usage: cowvet VERB [OPTION]... [IMAGE]...\n\n";
  for (const auto& verb : verbs) text += fmt::format("  {:<10} {}\n", verb.name, verb.summary);
  text +=
      "\nOptions:\n"
      "  -h, --help     Show this help and end\n"
      "  -V, --version  Show the version and end\n\n"
      "Examples:\n"
      "  cowvet check disk.qcow2           # is it sound? exit code 0 yes, 2 damaged, 3 leaks only\n"
      "  cowvet check --help               # all options of a verb\n";
  return text;
}

}  // namespace

Exit run(std::span<char* const> arguments, Console& console) {
  const std::string_view word = arguments.empty() ? "" : arguments.front();
  if (word == "--version" || word == "-V") {
    console.print(fmt::format("cowvet {}\n", base::version));
    return Exit::success;
  }
  if (word == "--help" || word == "-h" || word == "help") {
    console.print(help());
    return Exit::success;
  }
  const auto verb = std::ranges::find(verbs, word, &Verb::name);
  if (verb != std::end(verbs)) return verb->run(arguments.subspan(1), console);

  std::string wrong = "no verb given";
  if (!word.empty()) {
    std::array<std::string_view, std::size(verbs)> names;
    std::ranges::transform(verbs, names.begin(), &Verb::name);
    const auto meant = nearest(word, names);
    wrong = fmt::format("there is no {} '{}'", word.front() == '-' ? "option" : "verb", base::escape(word));
    if (!meant.empty()) wrong += fmt::format("; did you mean '{}'?", meant);
  }
  console.complain(wrong + ": see 'cowvet --help'");
  return Exit::failed;
}

}  // namespace cowvet::cli
