#include "reports/undo.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace cowvet::reports {

std::string undo_json(const UndoReport& report) {
  nlohmann::ordered_json json{{"schema", "cowvet.undo/1"},
                              {"undo-file", base::escape(report.file)},
                              {"image", base::escape(report.image)},
                              {"state", report.state},
                              {"made", report.made},
                              {"length-before", report.length_before},
                              {"length-after", report.length_after},
                              {"changed-bytes", report.changed},
                              {"saved-bytes", report.saved},
                              {"result", report.result},
                              {"written-bytes", report.written}};
  if (report.ranges) {
    json["ranges"] = nlohmann::ordered_json::array();
    for (const auto& range : *report.ranges)
      json["ranges"].push_back(
          {{"offset", range.offset}, {"length", range.length}, {"before", range.before}});
  }
  return json.dump(2) + "\n";
}

std::string undo_text(const UndoReport& report) {
  const auto image = base::escape(report.image);
  if (report.result == "nothing-to-do")
    return fmt::format("Nothing to do: the change of {} was taken back before.\n", image);
  if (report.result == "restored")
    return fmt::format("{} is what it was before the change of {}, byte for byte ({} written back).\n", image,
                       report.made, base::human_size(report.written));
  auto text = fmt::format(
      "Image: {}\nChanged: {}\nState: {}\nLength before and after: {} and {} bytes\nChanged, in whole "
      "sectors: "
      "{}, of which {} are kept here\n",
      image, report.made, report.state, report.length_before, report.length_after,
      base::human_size(report.changed), base::human_size(report.saved));
  if (!report.ranges || report.ranges->empty()) return text;
  text += fmt::format("{:<18} {:<18} {}\n", "Offset", "Length", "Held before");
  for (const auto& range : *report.ranges)
    text += fmt::format("{:<#18x} {:<#18x} {}\n", range.offset, range.length, range.before);
  return text;
}

}  // namespace cowvet::reports
