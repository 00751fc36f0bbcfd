// What qemu-io prints of transfers: sizes, times and rates, and dumps of bytes. Promises: the same characters
// for the same figures, in the form for people and in the one for machines (-C).
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace cowvet::cli {

// "64 KiB", "1.500 KiB", "5 bytes".
[[nodiscard]] std::string io_size(double bytes);

// Two lines: "wrote 512/512 bytes at offset 0" and the rates; for machines one: bytes, operations, time, rates.
struct IoReport {
  std::string_view done;  // "read", "wrote", "discard"
  std::uint64_t offset = 0, bytes = 0;
  std::chrono::duration<double> time{};
};
[[nodiscard]] std::string io_report(const IoReport& report, bool for_machines);

// Appends lines of 16 bytes, the first of which lies at `offset`, in hexadecimal and, as far as they are letters and
// digits, as such.
void add_io_dump(std::string& out, std::uint64_t offset, base::ConstBytes bytes);

}  // namespace cowvet::cli
