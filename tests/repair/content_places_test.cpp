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
  EXPECT_GT(expected.oddity_of_nothing(512, 1024, 512), 10);
  EXPECT_EQ(expected.oddity_of_nothing(2048, 4096, 512), 0);
  EXPECT_EQ(expected.oddity_of_nothing(8192, 9000, 512), 0);
  EXPECT_TRUE(expected.proves(0, 2048));
  EXPECT_FALSE(expected.proves(600, 4096));
}

// Areas at random, as file systems tell them, in [0, end).
Expectations some_areas(std::mt19937& lot, std::uint64_t end) {
  Expectations expected({{0, end}});
  constexpr Area::Kind kinds[] = {Area::Kind::stored, Area::Kind::used, Area::Kind::held,
                                  Area::Kind::zeros,  Area::Kind::free, Area::Kind::perhaps};
  for (unsigned i = 0; i < 1 + lot() % 5; ++i) {
    const std::uint64_t begin = lot() % end, length = 1 + lot() % (lot() % 3 == 0 ? end : 700);
    expected.add(begin, std::min(begin + length, end), kinds[lot() % std::size(kinds)]);
  }
  expected.seal();
  return expected;
}

TEST(Expectations, sums_what_would_be_odd_as_if_asked_for_each_unit) {
  std::mt19937 lot(11);
  for (int round = 0; round < 400; ++round) {
    const auto expected = some_areas(lot, 9000);
    const std::uint64_t begin = lot() % 4000, end = begin + 1 + lot() % 5000, unit = 1 + lot() % 900;
    double sum = 0;
    for (std::uint64_t at = begin; at < end; at += unit)
      sum += expected.oddity_of_nothing(at, std::min(at + unit, end), unit);
    EXPECT_DOUBLE_EQ(expected.oddity_of_nothing(begin, end, unit), sum) << begin << ' ' << end << ' ' << unit;
  }
}

std::vector<Expectations::Window> windows(std::uint64_t count, std::uint64_t length, std::uint64_t end) {
  std::vector<Expectations::Window> all;
  for (std::uint64_t i = 0; i < count; ++i) all.push_back({i * length, std::min((i + 1) * length, end)});
  return all;
}

// A header that claimed 34.9 PiB made each lost table be held against each of 71533 places, for minutes.
TEST(ContentPlaces, a_disk_that_claims_petabytes_has_no_more_places_to_weigh) {
  constexpr std::uint64_t span = 1ULL << 39, places = 1U << 20, disk = places * span - 512;
  Expectations expected({{0, disk}});
  expected.add(0, 4096, Area::Kind::stored);
  expected.add_ground(0, disk / 2, Area::Kind::free);  // of a file system that claims as much
  expected.seal();
  const auto all = windows(places, span, disk);
  EXPECT_LT(places_to_weigh(expected, all, 3).size(), 20U);
}

// Which places are left out makes no difference: the same pairs, by the same margin.
TEST(ContentPlaces, what_need_not_be_weighed_decides_nothing) {
  std::mt19937 lot(5);
  constexpr std::uint64_t length = 256, count = 30, end = count * length - 100;
  const auto all = windows(count, length, end);
  for (int round = 0; round < 300; ++round) {
    const auto expected = some_areas(lot, end);
    std::vector<Bytes> things(1 + lot() % 3, Bytes(length));
    for (auto& thing : things)
      for (std::size_t i = lot() % length, n = lot() % 300; n > 0 && i < length; ++i, --n)
        thing[i] = std::byte{7};
    const auto answer = [&](std::span<const std::size_t> places) {
      OrderQuestion q{.things = things.size(), .places = places.size(), .left = -12};
      for (const auto& thing : things)
        for (const auto place : places)
          q.fits.push_back(static_cast<float>(expected.judge(all[place].begin, Content(thing)).bits));
      for (const auto place : places)
        q.empty.push_back(
            -static_cast<float>(expected.oddity_of_nothing(all[place].begin, all[place].end, length)));
      auto found = match_in_order(q).choices;
      for (auto& choice : found)
        if (choice.place) choice.place = places[*choice.place];
      return found;
    };
    std::vector<std::size_t> every(count);
    for (std::size_t i = 0; i < count; ++i) every[i] = i;
    const auto want = answer(every), have = answer(places_to_weigh(expected, all, things.size()));
    for (std::size_t i = 0; i < things.size(); ++i) {
      EXPECT_EQ(have[i].margin, want[i].margin) << round;
      if (want[i].margin > 0) {
        EXPECT_EQ(have[i].place, want[i].place) << round;
      }
    }
  }
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

void put_text(Bytes& bytes, std::size_t at, std::string_view text) {
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
    put_text(bytes, 510, "\x55\xaa");
    switch (round % 4) {
      case 0:
        put_text(bytes, 1024 + 0x38, "\x53\xef");
        bytes[1024 + 0x5a] = bytes[1024 + 0x5b] = std::byte{0};
        std::fill_n(bytes.begin() + 1024 + 0x18, 4, std::byte{0});
        break;
      case 1:
        put_text(bytes, 0, std::string_view("XFSB\0\0\x10\0", 8));
        put_text(bytes, 100, std::string_view("\xb4\xa5\x02\0\x02\0\0\x08", 8));
        put_text(bytes, 512, "XAGF");
        std::fill_n(bytes.begin() + 520, 4, std::byte{0});
        break;
      case 2:
        put_text(bytes, 3, "NTFS    ");
        put_text(bytes, 0x0b, std::string_view("\0\x02\x08", 3));
        break;
      default:
        put_text(bytes, 0, "\xeb\x3c\x90");
        put_text(bytes, 0x0b, std::string_view("\0\x02\x04\x01\0\x02", 6));
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
  put_text(digits, 0, "123456789");
  EXPECT_EQ(~crc32c(~0U, base::ConstBytes(digits)), 0xe3069283U);
}

}  // namespace
}  // namespace cowvet::repair
