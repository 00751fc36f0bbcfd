// Ranges keep their order and fate whatever is found out later, and the mapfile says the same again.
#include "repair/layer_map.hpp"

#include <gtest/gtest.h>

namespace cowvet::repair {
namespace {

std::string said(const LayerMap& map) {
  std::string text;
  for (const auto& range : map.ranges())
    text += std::to_string(range.begin) + "-" + std::to_string(range.end) +
            "bcil"[static_cast<int>(range.fate)] + " ";
  return text;
}

LayerMap sample() {
  LayerMap map;
  map.append(100, Fate::certain);
  map.append(50, Fate::certain);
  map.append(50, Fate::inferred, "why");
  map.append(100, Fate::below);
  return map;
}

TEST(LayerMap, joins_what_is_alike) { EXPECT_EQ(said(sample()), "0-150c 150-200i 200-300b "); }

TEST(LayerMap, takes_what_is_found_out_later) {
  auto map = sample();
  const FateRange found[] = {{0, 10, Fate::lost, "x"},
                             {140, 160, Fate::lost, "x"},
                             {160, 170, Fate::lost, "y"},
                             {190, 250, Fate::lost, "x"},
                             {299, 400, Fate::lost, "x"}};
  map.repaint(found);
  EXPECT_EQ(said(map), "0-10l 10-140c 140-160l 160-170l 170-190i 190-250l 250-299b 299-300l ");
  EXPECT_EQ(map.bytes(Fate::lost), 10U + 30 + 60 + 1);
  EXPECT_EQ(map.at(165).why, "y");
  EXPECT_EQ(map.end(), 300U);
  map.repaint({});
  EXPECT_EQ(map.bytes(Fate::inferred), 20U);
}

TEST(LayerMap, is_bounded_and_never_better_than_it_was) {
  LayerMap map;
  constexpr std::uint64_t ranges = 600'000;
  for (std::uint64_t i = 0; i < ranges; ++i)
    map.append(512, i % 2 == 0 ? Fate::certain : Fate::lost, i % 2 == 0 ? "" : "x");
  EXPECT_LE(map.ranges().size(), 1U << 18);
  EXPECT_EQ(map.end(), ranges * 512);
  EXPECT_GE(map.bytes(Fate::lost), ranges / 2 * 512);
  for (std::uint64_t i = 1; i < ranges; i += 2) ASSERT_EQ(map.at(i * 512).fate, Fate::lost);
}

TEST(LayerMap, goes_through_a_mapfile) {
  auto map = sample();
  const FateRange found[] = {{100, 120, Fate::lost, "bad\nsector"}};
  map.repaint(found);
  const auto read = parse_mapfile(mapfile(map, "an image"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(said(*read), "0-100c 100-120l 120-300c ");
  // One of ddrescue's own.
  const auto foreign = parse_mapfile(
      "# Mapfile\n0x00100000     ?               1\n0x0 0x10000 +\n0x00010000  0x00000200  -\n66048 512 /\n");
  ASSERT_TRUE(foreign) << foreign.error().message;
  EXPECT_EQ(said(*foreign), "0-65536c 65536-66560l ");
  for (const auto* text : {"", "# nothing\n", "0 ?\n0 10 x\n", "0 ?\n5 10 +\n", "0 ?\n0 0 +\n",
                           "0 ?\n0 0xfffffffffffffff0 +\n", "0 ?\nzero 1 +\n"})
    EXPECT_FALSE(parse_mapfile(text)) << text;
}

}  // namespace
}  // namespace cowvet::repair
