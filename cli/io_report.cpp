#include "cli/io_report.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

namespace cowvet::cli {

namespace {

// A clock's figure; what is shorter than a second without hours and minutes unless `whole`.
std::string io_time(std::chrono::duration<double> time, bool whole) {
  const auto hundredths = static_cast<std::uint64_t>(time.count() * 100);
  const std::uint64_t seconds = hundredths / 100;
  if (!whole && seconds == 0) return fmt::format("00.{:02} sec", hundredths);
  return fmt::format("{}:{:02}:{:02}.{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     hundredths % 100);
}

}  // namespace

std::string io_size(double bytes) {
  constexpr std::array<std::string_view, 6> units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::string figure = fmt::format("{:.6f}", bytes);
  std::string_view unit = "bytes";
  for (std::size_t i = 0; i < units.size() && bytes >= std::ldexp(1, static_cast<int>(10 * (i + 1))); ++i) {
    figure = fmt::format("{:.3f}", std::ldexp(bytes, -static_cast<int>(10 * (i + 1))));
    unit = units[i];
  }
  const auto point = figure.find('.');
  if (figure.find_first_not_of('0', point + 1) == std::string::npos) figure.resize(point);
  return fmt::format("{} {}", figure, unit);
}

std::string io_report(const IoReport& report, bool for_machines) {
  const double seconds = std::max(report.time.count(), 1e-9);
  const double rate = static_cast<double>(report.bytes) / seconds;
  if (for_machines)
    return fmt::format("{},1,{},{:.3f},{:.3f}\n", report.bytes, io_time(report.time, true), rate,
                       1 / seconds);
  return fmt::format("{0} {1}/{1} bytes at offset {2}\n{3}, 1 ops; {4} ({5}/sec and {6:.4f} ops/sec)\n",
                     report.done, report.bytes, report.offset, io_size(static_cast<double>(report.bytes)),
                     io_time(report.time, false), io_size(rate), 1 / seconds);
}

void add_io_dump(std::string& out, std::uint64_t offset, base::ConstBytes bytes) {
  constexpr std::size_t width = 16;
  while (!bytes.empty()) {
    const auto row = bytes.first(std::min(width, bytes.size()));
    out += fmt::format("{:08x}:  ", offset);
    for (const auto byte : row) out += fmt::format("{:02x} ", std::to_integer<unsigned>(byte));
    out += ' ';
    for (const auto byte : row) {
      const auto letter = std::to_integer<unsigned char>(byte);
      out += letter < 0x80 && std::isalnum(letter) != 0 ? static_cast<char>(letter) : '.';
    }
    out += '\n';
    offset += row.size();
    bytes = bytes.subspan(row.size());
  }
}

}  // namespace cowvet::cli
