#include "reports/pages.hpp"

#include <iterator>

#include <fmt/format.h>

#include "findings/rule.hpp"
#include "format/catalogue.hpp"
#include "reports/rules.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

namespace {

constexpr unsigned width = 118;
constexpr std::string_view generated =
    "<!-- Made from the program's tables by cowvet-docs; don't edit. -->\n";

using Words = std::back_insert_iterator<std::string>;

template <class Word, std::size_t N>
void add_words(std::string& out, std::string_view heading, const Word (&words)[N]) {
  fmt::format_to(Words(out), "\n| {} | meaning |\n|---|---|\n", heading);
  for (const auto word : words) fmt::format_to(Words(out), "| {} | {} |\n", to_string(word), explain(word));
}

void add_rule(std::string& out, const findings::Rule& rule) {
  fmt::format_to(Words(out), "\n### {} ({})\n\n**{}**: {}.", rule.name, rule.code, to_string(rule.severity),
                 rule.title);
  if (rule.lesser != rule.severity)
    fmt::format_to(Words(out), " In milder cases: {}.", to_string(rule.lesser));
  if (rule.deep) out += " Found with `--deep` only.";
  const auto paragraph = [&](std::string_view prose) { out += "\n\n" + wrapped(prose, 0, width); };
  paragraph(rule.explanation);
  paragraph(fmt::format("*At risk:* {} *To do:* {}", rule.consequence, rule.advice));
  const auto repair = rule.reason == findings::Reason::repairable
                          ? fmt::format("`{}`, {}", to_string(rule.remedy), to_string(rule.consent))
                          : fmt::format("none, {}", to_string(rule.reason));
  paragraph(fmt::format("*Reader:* {}. *Repair:* {}. *Specification:* {}.", to_string(rule.reader), repair,
                        rule.spec));
  out += '\n';
}

std::string rules_page() {
  using findings::Consent;
  using findings::Reader;
  using findings::Reason;
  using findings::Severity;
  std::string out{generated};
  fmt::format_to(
      Words(out),
      "# Rules\n\nThe {} things that `cowvet check` looks for. A rule's name and number never change; "
      "`cowvet rules NAME` prints\none of them. D-numbers refer to [catalogue.md](catalogue.md).\n",
      findings::rule_count);
  add_words(out, "severity",
            {Severity::fatal, Severity::error, Severity::leak, Severity::warning, Severity::note});
  add_words(out, "a careful reader",
            {Reader::tolerate, Reader::refuse_write, Reader::fail_read, Reader::refuse_open});
  add_words(out, "a repair needs",
            {Consent::none, Consent::lossless, Consent::frees, Consent::choice, Consent::lossy});
  add_words(out, "why there is no repair",
            {Reason::n1_not_recorded, Reason::n2_two_readings, Reason::n3_legal, Reason::n4_would_discard,
             Reason::n5_content_lost, Reason::n6_elsewhere, Reason::n7_not_yet});
  std::string_view area;
  for (const auto& rule : findings::all_rules()) {
    if (area_of(rule) != area) {
      area = area_of(rule);
      fmt::format_to(Words(out), "\n## {}\n", area);
    }
    add_rule(out, rule);
  }
  return out;
}

std::string format_page() {
  std::string out{generated};
  out +=
      "# The format\n\nEvery record and every bit word that cowvet reads, from the field tables of "
      "`format/`. All integers "
      "are big-endian;\noffsets and widths are in bytes. The prose of the specification is at\n"
      "[qemu.org](https://www.qemu.org/docs/master/interop/qcow2.html).\n\n## Records\n";
  for (const auto& record : format::all_records()) {
    fmt::format_to(Words(out),
                   "\n### {}\n\n{}; {} bytes.\n\n| offset | width | field | |\n|--:|--:|---|---|\n",
                   record.name, record.spec, record.size);
    for (const auto& field : record.fields)
      fmt::format_to(Words(out), "| {} | {} | {} | {} |\n", field.offset, field.width, field.name,
                     field.note);
  }
  out += "\n## Bit words\n\nBit 0 is the least significant one. Reserved bits are zero.\n";
  for (const auto& word : format::all_words()) {
    fmt::format_to(Words(out), "\n### {}\n\n{}; {} bytes.\n\n| bits | name |\n|--:|---|\n", word.name,
                   word.spec, word.width);
    for (const auto& part : word.parts) {
      if (part.low >= static_cast<int>(8 * word.width)) continue;
      const int high = std::min(part.high, static_cast<int>(8 * word.width) - 1);
      const auto range = part.low == high ? fmt::format("{}", high) : fmt::format("{}-{}", part.low, high);
      fmt::format_to(Words(out), "| {} | {}{} |\n", range, part.name,
                     part.reserved && !part.name.starts_with("reserved") ? " (reserved)" : "");
    }
  }
  return out;
}

constexpr Page pages[] = {{"rules.md", rules_page}, {"format.md", format_page}};

}  // namespace

std::span<const Page> all_pages() { return pages; }

}  // namespace cowvet::reports
