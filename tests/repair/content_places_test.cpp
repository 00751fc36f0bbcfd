// Lost clusters and tables by what they hold: the matching in order against trying everything; expectations;
// a file system made by hand of which the mapping is lost; and what must not be placed.
#include "repair/content_places.hpp"

#include <algorithm>
#include <functional>
#include <random>

#include <gtest/gtest.h>

#include "repair/expectations.hpp"
#include "repair/guest_survey.hpp"
#include "repair/guest_words.hpp"
#include "repair/order_match.hpp"

namespace cowvet::repair {
namespace {

using Bytes = std::vector<std::byte>;

// The best sum of all matchings in order in which `thing` has `place` (nothing: none), by trying them all.
float best_with(const OrderQuestion& q, std::size_t thing, std::optional<std::size_t> place) {
  float best = -1e30F;
  std::vector<std::optional<std::size_t>> chosen(q.things);
  const std::function<void(std::size_t, std::size_t)> go = [&](std::size_t i, std::size_t next) {
    if (i == q.things) {
      if (chosen[thing] != place) return;
      float sum = 0;
      std::vector<bool> used(q.places);
      for (std::size_t k = 0; k < q.things; ++k) {
        sum += chosen[k] ? q.fits[k * q.places + *chosen[k]] : q.left;
        if (chosen[k]) used[*chosen[k]] = true;
      }
      for (std::size_t j = 0; j < q.places; ++j) sum += used[j] ? 0 : q.empty[j];
      best = std::max(best, sum);
      return;
    }
    chosen[i].reset();
    go(i + 1, next);
    for (std::size_t j = next; j < q.places; ++j) {
      chosen[i] = j;
      go(i + 1, j + 1);
    }
  };
  go(0, 0);
  return best;
}

TEST(OrderMatch, is_the_best_of_all_orders_and_knows_by_how_much) {
  std::mt19937 lot(1);
  for (int round = 0; round < 60; ++round) {
    OrderQuestion q{.things = 1 + lot() % 4, .places = 1 + lot() % 5, .left = -3};
    for (std::size_t i = 0; i < q.things * q.places; ++i)
      q.fits.push_back(static_cast<float>(lot() % 40) - 20);
    for (std::size_t i = 0; i < q.places; ++i) q.empty.push_back(-static_cast<float>(lot() % 9));
    const auto answer = match_in_order(q);
    for (std::size_t i = 0; i < q.things; ++i) {
      const auto& choice = answer.choices[i];
      float other = -1e30F;
      for (std::size_t j = 0; j <= q.places; ++j) {
        const auto place = j < q.places ? std::optional(j) : std::nullopt;
        if (place != choice.place) other = std::max(other, best_with(q, i, place));
      }
      const float best = best_with(q, i, choice.place);
      EXPECT_GE(best, other);
      EXPECT_FLOAT_EQ(choice.margin, best - other);
    }
  }
}

TEST(Expectations, says_of_the_ground_only_where_nothing_else_is_known) {
  Expectations expected({{0, 4096}});
  expected.add_check(512, 1024, "a mark", [](base::ConstBytes b) { return says(b, 0, "MARK"); });
  expected.add_ground(0, 2048, Area::Kind::stored);
  expected.add_map(0, 4096, Area::Kind::free);
  expected.add(8192, 9000, Area::Kind::used);  // nobody asked
  expected.seal();
  Bytes bytes(2048);
  bytes[0] = bytes[1024] = std::byte{1};
  const std::string mark = "MARK";
  for (std::size_t i = 0; i < mark.size(); ++i) bytes[512 + i] = static_cast<std::byte>(mark[i]);
  const auto right = expected.judge(0, Content(bytes));
  ASSERT_NE(right.proof, nullptr);
  EXPECT_EQ(*right.proof, "a mark");
  EXPECT_GT(right.bits, 20);
  bytes[512] = std::byte{0};
  EXPECT_LT(expected.judge(0, Content(bytes)).bits, 0);
  EXPECT_LT(expected.judge(2048, Content(bytes)).bits, 0);  // where there should be nothing
  EXPECT_GT(expected.oddity_of_nothing(512, 1024), 10);
  EXPECT_EQ(expected.oddity_of_nothing(2048, 4096), 0);
  EXPECT_EQ(expected.oddity_of_nothing(8192, 9000), 0);
  EXPECT_TRUE(expected.proves(0, 2048));
  EXPECT_FALSE(expected.proves(600, 4096));
}

class Memory final : public GuestReader {
 public:
  explicit Memory(Bytes bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t unit() const override { return 65536; }
  [[nodiscard]] bool read(std::uint64_t offset, base::MutableBytes into) const override {
    if (offset > bytes_.size() || into.size() > bytes_.size() - offset) return false;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return true;
  }

 private:
  Bytes bytes_;
};

void put(Bytes& bytes, std::size_t at, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) bytes[at + i] = static_cast<std::byte>(text[i]);
}

// File systems whose numbers are noise behind a first sector that names them: nothing may be read outside,
// and each ends.
TEST(GuestSurvey, survives_whatever_file_systems_claim) {
  std::mt19937 lot(7);
  const auto noise = [&] { return static_cast<std::byte>(lot() % 4 == 0 ? lot() & 0xff : 0); };
  for (int round = 0; round < 120; ++round) {
    Bytes bytes(1U << 18);
    std::ranges::generate(bytes, noise);
    put(bytes, 510, "\x55\xaa");
    switch (round % 4) {
      case 0:
        put(bytes, 1024 + 0x38, "\x53\xef");
        bytes[1024 + 0x5a] = bytes[1024 + 0x5b] = std::byte{0};
        std::fill_n(bytes.begin() + 1024 + 0x18, 4, std::byte{0});
        break;
      case 1:
        put(bytes, 0, std::string_view("XFSB\0\0\x10\0", 8));
        put(bytes, 100, std::string_view("\xb4\xa5\x02\0\x02\0\0\x08", 8));
        put(bytes, 512, "XAGF");
        std::fill_n(bytes.begin() + 520, 4, std::byte{0});
        break;
      case 2:
        put(bytes, 3, "NTFS    ");
        put(bytes, 0x0b, std::string_view("\0\x02\x08", 3));
        break;
      default:
        put(bytes, 0, "\xeb\x3c\x90");
        put(bytes, 0x0b, std::string_view("\0\x02\x04\x01\0\x02", 6));
        bytes[0x15] = std::byte{0xf8};
    }
    const Memory disk(bytes);
    Expectations expected({{0, bytes.size()}});
    survey_guest(disk, expected);
    expected.for_each_check([&](const Area& area, const PlaceProof& proof) {
      if (area.end <= bytes.size())
        (void)proof.holds(base::ConstBytes(bytes).subspan(static_cast<std::size_t>(area.begin),
                                                          static_cast<std::size_t>(area.end - area.begin)));
      EXPECT_FALSE(proof.holds({}));
    });
  }
}

TEST(GuestWords, reads_nothing_outside) {
  const Bytes bytes{std::byte{1}, std::byte{2}, std::byte{3}};
  EXPECT_EQ(little<std::uint16_t>(bytes, 0), 0x0201);
  EXPECT_EQ(big<std::uint16_t>(bytes, 1), 0x0203);
  EXPECT_EQ(little<std::uint32_t>(bytes, 0), 0U);
  EXPECT_EQ(big<std::uint16_t>(bytes, ~0ULL), 0U);
  EXPECT_TRUE(part(bytes, 2, 2).empty());
  EXPECT_FALSE(says(bytes, 2, "ab"));
  // The check value of CRC-32C.
  Bytes digits(9);
  put(digits, 0, "123456789");
  EXPECT_EQ(~crc32c(~0U, base::ConstBytes(digits)), 0xe3069283U);
}

}  // namespace
}  // namespace cowvet::repair
