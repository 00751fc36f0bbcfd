#include "reports/model.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"

namespace cowvet::reports {

namespace {

using Json = nlohmann::ordered_json;

// As it is for people, several lines included; what is no text escaped.
std::string said(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines += base::escape(text.substr(0, end));
    if (end == std::string_view::npos) break;
    lines += '\n';
    text.remove_prefix(end + 1);
  }
  return lines;
}

bool with_peer(const ModelReport& report) { return report.engine != "cowvet"; }

}  // namespace

std::string model_text(const ModelReport& report) {
  const auto& s = report.searched;
  auto text = fmt::format(
      "{} ({})\n{} operations in {} sequences, over {} combinations of options, seed {}, profile {}{}\n",
      base::escape(report.engine), base::escape(report.version), s.operations, s.sequences, s.options.size(),
      report.seed, report.profile, report.stopped ? "; stopped before the end" : "");
  text += "Done:";
  for (std::size_t i = 0; i < s.kinds.size(); ++i)
    if (s.kinds[i] != 0) text += fmt::format(" {} {}", s.kinds[i], model::kind_names[i]);
  text += '\n';
  if (with_peer(report)) {
    text += "Known differences met:\n";
    for (std::size_t i = 0; i < s.met.size(); ++i) {
      const auto& known = model::known_differences[i];
      text += fmt::format("  {:8} {}: {}; {}\n", s.met[i], known.name, known.what, known.instead);
    }
  }
  if (!s.disagreement) return text + "No disagreement with the model was found.\n";
  return text + fmt::format("DISAGREEMENT ({}): {}\nThis script reproduces it in an empty folder{}:\n{}",
                            name_of(s.disagreement->oracle), said(s.disagreement->what),
                            with_peer(report) ? " (img=qemu-img io=qemu-io sh SCRIPT)" : "", s.script);
}

std::string model_json(const ModelReport& report) {
  const auto& s = report.searched;
  Json json{{"schema", "cowvet.model/1"},
            {"tool", {{"name", "cowvet"}, {"version", base::version}}},
            {"engine", {{"name", base::escape(report.engine)}, {"version", base::escape(report.version)}}},
            {"profile", report.profile},
            {"seed", report.seed},
            {"operations", s.operations},
            {"sequences", s.sequences},
            {"combinations", s.options.size()},
            {"stopped", report.stopped}};
  for (std::size_t i = 0; i < s.kinds.size(); ++i)
    json["kinds"][std::string(model::kind_names[i])] = s.kinds[i];
  json["known-differences"] = Json::array();
  for (std::size_t i = 0; with_peer(report) && i < s.met.size(); ++i) {
    const auto& known = model::known_differences[i];
    json["known-differences"].push_back(
        {{"name", known.name}, {"what", known.what}, {"instead", known.instead}, {"met", s.met[i]}});
  }
  json["disagreement"] = nullptr;
  if (s.disagreement)
    json["disagreement"] = {{"oracle", name_of(s.disagreement->oracle)},
                            {"what", said(s.disagreement->what)},
                            {"script", s.script}};
  return json.dump(2) + "\n";
}

}  // namespace cowvet::reports
